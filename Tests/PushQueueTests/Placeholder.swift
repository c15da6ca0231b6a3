enum PlaceholderPushQueueTests {}
