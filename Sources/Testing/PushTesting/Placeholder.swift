enum PlaceholderPushTesting {}
