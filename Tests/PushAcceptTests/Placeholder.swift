enum PlaceholderPushAcceptTests {}
