enum PlaceholderPushDispatchTests {}
