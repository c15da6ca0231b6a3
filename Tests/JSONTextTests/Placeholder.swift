enum PlaceholderJSONTextTests {}
