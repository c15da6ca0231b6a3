enum PlaceholderPushGateway {}
