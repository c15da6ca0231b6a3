enum PlaceholderHTTP2SessionTests {}
