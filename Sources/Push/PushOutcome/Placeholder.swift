enum PlaceholderPushOutcome {}
