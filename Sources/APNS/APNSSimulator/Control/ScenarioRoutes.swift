#if SimulatorControl
import Hummingbird
import JSONText

// Routes for scenarios, settings and channels.
extension ControlAPI {
    func addScenarioRoutes(_ router: Router<BasicRequestContext>) {
        router.get("/scenarios") { _, _ in Self.json(Self.builtInList()) }
        router.get("/scenario") { _, _ in Self.json(Self.describe(runner.status)) }
        router.put("/scenario") { request, _ in
            runner.play(try Self.scenario(try await body(request), now: state.configuration.clock()))
            return Response(status: .noContent)
        }
        router.delete("/scenario") { _, _ in
            runner.stop()
            return Response(status: .noContent)
        }
        router.get("/settings") { _, _ in Self.json(state.settings.json()) }
        router.put("/settings") { request, _ in
            let body = try await body(request)
            let change = try Self.parse { () throws(ControlDocumentError) in
                try DocumentReader.read(body, SimulatorSettings.change)
            }
            guard let problems = state.changeSettings(change) else { return Response(status: .noContent) }
            throw ControlProblem(.badRequest, problems.joined(separator: "; "))
        }
        router.get("/channels/:app") { _, context in
            Self.json(Self.channelList(state.channels.channels(of: context.parameters.get("app") ?? "")))
        }
    }

    /// Parses the name of a built-in scenario, or a scenario file.
    private static func scenario(_ body: [UInt8], now: Int64) throws -> Scenario {
        let text = String(decoding: body, as: UTF8.self)
        let word = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        if !word.contains(":") {
            guard let scenario = Scenario.builtIn(word) else {
                let names = Scenario.builtInFiles.map(\.name).joined(separator: ", ")
                throw ControlProblem(.badRequest, "no built-in scenario has this name; use one of \(names)")
            }
            return scenario
        }
        return try parse { () throws(ControlDocumentError) in try Scenario(document: body, now: now) }
    }

    private static func builtInList() -> [UInt8] {
        var bytes: [UInt8] = []
        for (index, file) in Scenario.builtInFiles.enumerated() {
            JSONWriter.append(index == 0 ? "[{\"name\":" : ",{\"name\":", to: &bytes)
            JSONWriter.appendString(file.name, to: &bytes)
            JSONWriter.append(",\"description\":", to: &bytes)
            JSONWriter.appendString(Scenario.builtIn(file.name)?.description ?? "", to: &bytes)
            JSONWriter.append(",\"yaml\":", to: &bytes)
            JSONWriter.appendString(file.yaml, to: &bytes)
            JSONWriter.append("}", to: &bytes)
        }
        JSONWriter.append("]\n", to: &bytes)
        return bytes
    }

    private static func describe(_ status: ScenarioRunner.Status?) -> [UInt8] {
        var bytes: [UInt8] = []
        guard let status else {
            JSONWriter.append("{\"name\":null}\n", to: &bytes)
            return bytes
        }
        JSONWriter.append("{\"name\":", to: &bytes)
        JSONWriter.appendString(status.scenario.name, to: &bytes)
        JSONWriter.append(",\"description\":", to: &bytes)
        JSONWriter.appendString(status.scenario.description, to: &bytes)
        JSONWriter.append(",\"since\":", to: &bytes)
        JSONWriter.appendInteger(status.since, to: &bytes)
        JSONWriter.append(",\"elapsed_ms\":", to: &bytes)
        JSONWriter.appendInteger(status.elapsed.nanoseconds / 1_000_000, to: &bytes)
        JSONWriter.append(",\"phases\":[", to: &bytes)
        for (index, phase) in status.phases.enumerated() {
            if index > 0 { JSONWriter.append(",", to: &bytes) }
            JSONWriter.appendString(phase, to: &bytes)
        }
        JSONWriter.append("]}\n", to: &bytes)
        return bytes
    }

    private static func channelList(_ channels: [SimulatedChannel]) -> [UInt8] {
        var bytes: [UInt8] = []
        JSONWriter.append("[", to: &bytes)
        for (index, channel) in channels.enumerated() {
            JSONWriter.append(index == 0 ? "{\"id\":" : ",{\"id\":", to: &bytes)
            JSONWriter.appendString(channel.id, to: &bytes)
            JSONWriter.append(",\"storage_policy\":", to: &bytes)
            JSONWriter.appendInteger(channel.storagePolicy, to: &bytes)
            JSONWriter.append(",\"broadcasts\":", to: &bytes)
            JSONWriter.appendInteger(channel.broadcasts, to: &bytes)
            JSONWriter.append(",\"stored\":", to: &bytes)
            if let stored = channel.stored {
                JSONWriter.append("{\"payload\":", to: &bytes)
                JSONWriter.appendString(String(decoding: stored.payload, as: UTF8.self), to: &bytes)
                JSONWriter.append(",\"expires_at\":", to: &bytes)
                JSONWriter.appendInteger(stored.expiresAt, to: &bytes)
                JSONWriter.append("}}", to: &bytes)
            } else {
                JSONWriter.append("null}", to: &bytes)
            }
        }
        JSONWriter.append("]\n", to: &bytes)
        return bytes
    }
}
#endif
