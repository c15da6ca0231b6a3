enum PlaceholderAPNSWireTests {}
