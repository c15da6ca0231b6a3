enum PlaceholderAPNSKitTests {}
