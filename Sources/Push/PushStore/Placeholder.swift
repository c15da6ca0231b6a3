enum PlaceholderPushStore {}
