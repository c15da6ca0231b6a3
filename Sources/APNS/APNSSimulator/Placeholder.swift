enum PlaceholderAPNSSimulator {}
