enum PlaceholderAPNSSimulatorTests {}
