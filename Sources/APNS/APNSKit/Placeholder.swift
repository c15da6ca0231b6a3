enum PlaceholderAPNSKit {}
