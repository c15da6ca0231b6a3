import JSONText

/// A change of settings that a document requests.
typealias SettingsChange = @Sendable (inout SimulatorSettings) -> Void

/// A setting's name in documents, its parser and its writer.
struct SettingsSwitch: Sendable {
    let name: String
    let read: @Sendable (DocumentReader) -> SettingsChange?
    let write: @Sendable (SimulatorSettings, inout [UInt8]) -> Void
}

extension SimulatorSettings {
    /// Parses an object of settings. Omitted settings stay unchanged; `null` disables an optional one.
    static func change(_ reader: DocumentReader) -> SettingsChange {
        guard let members = reader.members() else { return { _ in } }
        let changes = switches.compactMap { one in members(one.name).flatMap { one.read($0) } }
        members.finish()
        let change: SettingsChange = { settings in for change in changes { change(&settings) } }
        // The ranges of single values are checked above; this checks their combination.
        var sample = SimulatorSettings()
        change(&sample)
        for problem in sample.problems() { reader.report("\(reader.name): \(problem)") }
        return change
    }

    /// One object with every setting.
    func json() -> [UInt8] {
        var bytes: [UInt8] = []
        for (index, one) in Self.switches.enumerated() {
            JSONWriter.append(index == 0 ? "{" : ",", to: &bytes)
            JSONWriter.appendString(one.name, to: &bytes)
            JSONWriter.append(":", to: &bytes)
            one.write(self, &bytes)
        }
        JSONWriter.append("}\n", to: &bytes)
        return bytes
    }

    /// Every setting, in the order of the documentation.
    static let switches: [SettingsSwitch] = [
        number("streams_before_authentication", \.streamsBeforeAuthentication, 1...1_000_000),
        number("streams_max", \.streamsMax, 1...1_000_000),
        choice("over_limit", \.overLimit),
        flag("drops_to_one_stream", \.dropsToOneStream),
        flag("wedges_on_expired_token", \.wedgesOnExpiredToken),
        optionalNumber("error_budget", \.errorBudget, 1...1_000_000_000),
        number("bad_token_weight", \.badTokenWeight, 0...1_000_000),
        rate("connection_rate", \.connectionRate),
        duration("connection_penalty", \.connectionPenalty),
        optionalNumber("connections_max", \.connectionsMax, 1...1_000_000),
        optionalDuration("idle_timeout", \.idleTimeout),
        optionalDuration("connection_age_max", \.connectionAgeMax),
        flag("accepts_prior_knowledge", \.acceptsPriorKnowledge),
        duration("latency", \.latency),
        duration("jitter", \.jitter),
        duration("answer_delay", \.answerDelay),
        choice("validation_order", \.validationOrder),
        rate("requests_per_token", \.requestsPerToken),
        flag("limits_token_updates", \.limitsTokenUpdates),
        flag("uses_short_environment_reason", \.usesShortEnvironmentReason),
        flag("uses_upper_case_ids", \.usesUpperCaseIDs),
        optionalFlag("sends_unique_ids", \.sendsUniqueIDs),
        number("channels_max", \.channelsMax, 1...1_000_000),
        names("broadcast_topics", \.broadcastTopics),
    ]

    // MARK: Kinds of settings

    private typealias Path<Value> = any WritableKeyPath<SimulatorSettings, Value> & Sendable

    private static func make<Value: Sendable>(
        _ name: String, _ path: Path<Value>, _ read: @escaping @Sendable (DocumentReader) -> Value?,
        _ write: @escaping @Sendable (Value, inout [UInt8]) -> Void
    ) -> SettingsSwitch {
        SettingsSwitch(
            name: name,
            read: { reader in
                guard let value = read(reader) else { return nil }
                return { $0[keyPath: path] = value }
            },
            write: { write($0[keyPath: path], &$1) }
        )
    }

    /// The same for a setting that `null` disables.
    private static func makeOptional<Value: Sendable>(
        _ name: String, _ path: Path<Value?>, _ read: @escaping @Sendable (DocumentReader) -> Value?,
        _ write: @escaping @Sendable (Value, inout [UInt8]) -> Void
    ) -> SettingsSwitch {
        make(
            name, path,
            { reader -> Value?? in
                if case .null = reader.node.value { return .some(nil) }
                return read(reader).map { .some($0) }
            },
            { value, bytes in
                if let value { write(value, &bytes) } else { JSONWriter.append("null", to: &bytes) }
            }
        )
    }

    private static func flag(_ name: String, _ path: Path<Bool>) -> SettingsSwitch {
        make(name, path, { $0.boolean() }, { JSONWriter.append($0 ? "true" : "false", to: &$1) })
    }

    private static func optionalFlag(_ name: String, _ path: Path<Bool?>) -> SettingsSwitch {
        makeOptional(name, path, { $0.boolean() }, { JSONWriter.append($0 ? "true" : "false", to: &$1) })
    }

    private static func number<Number: FixedWidthInteger & Sendable>(
        _ name: String, _ path: Path<Number>, _ range: ClosedRange<Int64>
    ) -> SettingsSwitch {
        make(name, path, { $0.integer(range).map { Number($0) } }, { JSONWriter.appendInteger($0, to: &$1) })
    }

    private static func optionalNumber(
        _ name: String, _ path: Path<Int?>, _ range: ClosedRange<Int64>
    ) -> SettingsSwitch {
        makeOptional(name, path, { $0.integer(range).map { Int($0) } }, { JSONWriter.appendInteger($0, to: &$1) })
    }

    private static func choice<Choice: RawRepresentable<String> & CaseIterable & Sendable>(
        _ name: String, _ path: Path<Choice>
    ) -> SettingsSwitch {
        make(
            name, path, { $0.choice(Choice.allCases.map { ($0.rawValue, $0) }) },
            { JSONWriter.appendString($0.rawValue, to: &$1) }
        )
    }

    private static func duration(_ name: String, _ path: Path<Duration>) -> SettingsSwitch {
        make(name, path, { $0.duration() }, { JSONWriter.appendString($0.milliseconds, to: &$1) })
    }

    private static func optionalDuration(_ name: String, _ path: Path<Duration?>) -> SettingsSwitch {
        makeOptional(name, path, { $0.duration() }, { JSONWriter.appendString($0.milliseconds, to: &$1) })
    }

    /// `{count: 10, per: 1s}`.
    private static func rate(_ name: String, _ path: Path<Rate?>) -> SettingsSwitch {
        makeOptional(
            name, path,
            { reader in
                guard let members = reader.members() else { return nil }
                let count = members("count")?.count()
                let period = members("per")?.duration()
                members.finish()
                guard let count, let period, period > .zero else {
                    if !members.has("count") || !members.has("per") || period == .zero {
                        reader.report("\(reader.name) needs a \"count\" and a \"per\" above zero")
                    }
                    return nil
                }
                return Rate(count, per: period)
            },
            { rate, bytes in
                JSONWriter.append("{\"count\":", to: &bytes)
                JSONWriter.appendInteger(rate.count, to: &bytes)
                JSONWriter.append(",\"per\":", to: &bytes)
                JSONWriter.appendString(rate.period.milliseconds, to: &bytes)
                JSONWriter.append("}", to: &bytes)
            }
        )
    }

    private static func names(_ name: String, _ path: Path<Set<String>?>) -> SettingsSwitch {
        makeOptional(
            name, path, { reader in Set(reader.elements(countMax: 10_000).compactMap { $0.string() }) },
            { names, bytes in
                JSONWriter.append("[", to: &bytes)
                for (index, name) in names.sorted().enumerated() {
                    if index > 0 { JSONWriter.append(",", to: &bytes) }
                    JSONWriter.appendString(name, to: &bytes)
                }
                JSONWriter.append("]", to: &bytes)
            }
        )
    }
}

extension Duration {
    /// The form used in documents, rounded down.
    var milliseconds: String { "\(components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000)ms" }
}
