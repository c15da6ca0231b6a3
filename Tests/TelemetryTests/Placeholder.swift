enum PlaceholderTelemetryTests {}
