enum PlaceholderPushQueue {}
