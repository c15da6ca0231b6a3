enum PlaceholderPushQueueConformance {}
