extension Scenario {
    /// Parses a scenario file. `docs/simulator/README.md` describes the format.
    ///
    /// - Throws: `ControlDocumentError` with every problem and its line.
    public init(yaml: String) throws(ControlDocumentError) {
        try self.init(document: Array(yaml.utf8), now: SystemTime.unixMilliseconds())
    }

    /// - Parameter now: The default timestamp of token states, in UNIX milliseconds.
    init(document bytes: [UInt8], now: Int64) throws(ControlDocumentError) {
        self = try DocumentReader.read(bytes) { reader in
            var scenario = Scenario("")
            guard let members = reader.members() else { return scenario }
            if !members.has("name") { reader.report("\(reader.name) has no \"name\"") }
            scenario.name = members("name")?.string() ?? ""
            scenario.description = members("description")?.string() ?? ""
            let body = Body(members, now: now)
            scenario.settings = body.settings
            scenario.faults = body.faults
            scenario.tokens = body.tokens
            scenario.repeatsEvery = members("repeat")?.duration()
            scenario.phases =
                members("phases")?.elements(countMax: Scenario.phasesMax).compactMap { Self.phase($0, now) } ?? []
            members.finish()
            for problem in scenario.problems() { reader.report(problem) }
            return scenario
        }
    }

    /// The members that scenarios and phases share.
    private struct Body {
        var settings: SettingsChange
        var faults: [FaultRule]
        var tokens: [TokenRule]

        init(_ members: MemberReader, now: Int64) {
            settings = { _ in }
            if let change = members("settings") { settings = SimulatorSettings.change(change) }
            faults = members("faults").map { FaultPlan.rules($0) } ?? []
            tokens = members("tokens").map { TokenRule.rules($0, now: now) } ?? []
        }
    }

    private static func phase(_ reader: DocumentReader, _ now: Int64) -> Phase? {
        guard let members = reader.members() else { return nil }
        if !members.has("at") { reader.report("\(reader.name) has no \"at\"") }
        let body = Body(members, now: now)
        let phase = Phase(
            members("name")?.string() ?? reader.name, at: members("at")?.duration() ?? .zero,
            duration: members("for")?.duration(), faults: body.faults, tokens: body.tokens, settings: body.settings
        )
        members.finish()
        return phase
    }
}
