enum PlaceholderPushModelTests {}
