enum PlaceholderHouseRulesTests {}
