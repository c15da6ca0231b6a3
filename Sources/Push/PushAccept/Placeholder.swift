enum PlaceholderPushAccept {}
