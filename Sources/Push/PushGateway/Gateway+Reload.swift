import Logging
import PushModel
package import Telemetry

extension Gateway {
    /// Applies the changes that need no restart, and logs what changed and what was kept: the credentials of apps, whose
    /// files are read again also if the configuration did not change, and the level of the log.
    ///
    /// Pushes are accepted and sent meanwhile. A file that cannot be used changes nothing; nothing stops the gateway.
    ///
    /// - Parameters:
    ///   - read: reads the configuration again.
    ///   - level: the level of this gateway's loggers.
    /// - Returns: whether everything was used; false: what failed keeps its old values.
    @discardableResult
    package func reload(_ read: () throws -> GatewayConfiguration, level: SharedLogLevel) -> Bool {
        var new: GatewayConfiguration?
        var failed: [String] = []
        do {
            new = try read()
        } catch {
            failed.append("configuration")
            logger.error(
                "configuration not used, the settings in use are kept", metadata: ["error": "\(error)"])
        }
        let changes = clients.reload(new)
        log(changes)
        certificates.check()
        var metadata: Logger.Metadata = [
            "credentials.replaced": .stringConvertible(changes.count(where: \.isReplaced)),
            "credentials.kept": .stringConvertible(changes.count(where: \.isKept)),
            "credentials.unchanged": .stringConvertible(changes.count { !$0.isReplaced && !$0.isKept }),
        ]
        if let new {
            if new.needsRestart(after: configuration) {
                logger.warning("the configuration has other changes, which take effect at the next start")
            }
            if let wanted = Logger.Level(rawValue: new.logLevel) {
                if wanted != level.current { metadata["log.level.before"] = "\(level.current)" }
                level.set(wanted)
            }
        }
        metadata["log.level"] = "\(level.current)"
        if changes.contains(where: \.isKept) { failed.append("credentials") }
        guard failed.isEmpty else {
            metadata["failed"] = "\(failed.joined(separator: ", "))"
            logger.error("reload failed in part, what failed keeps its old values", metadata: metadata)
            return false
        }
        logger.notice("reloaded", metadata: metadata)
        return true
    }

    private func log(_ changes: [GatewayClients.Change]) {
        for change in changes {
            var metadata = AppNames.metadata(of: change.apps)
            switch change.result {
            case .unchanged: break
            case .replaced(let credential):
                metadata["credential"] = "\(credential)"
                logger.notice("credential replaced", metadata: metadata)
            case .kept(let reason):
                metadata["error"] = "\(reason)"
                logger.error("credential not replaced, the one in use is kept", metadata: metadata)
            }
        }
    }
}

extension GatewayClients.Change {
    fileprivate var isReplaced: Bool { if case .replaced = result { true } else { false } }
    fileprivate var isKept: Bool { if case .kept = result { true } else { false } }
}

extension GatewayConfiguration {
    /// Whether anything but credentials and the level of the log differs. Compares descriptions, which name every property.
    func needsRestart(after other: GatewayConfiguration) -> Bool {
        func compared(_ configuration: GatewayConfiguration) -> String {
            var configuration = configuration
            configuration.logLevel = ""
            for app in configuration.apps.indices {
                for environment in configuration.apps[app].environments.indices {
                    configuration.apps[app].environments[environment].credential = .certificate(Certificate())
                }
            }
            return "\(configuration)"
        }
        return compared(self) != compared(other)
    }
}
