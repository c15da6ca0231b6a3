enum PlaceholderPushModel {}
