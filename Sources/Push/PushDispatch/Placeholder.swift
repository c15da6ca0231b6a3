enum PlaceholderPushDispatch {}
