import APNSKit
import Foundation
import PushModel
import SQLiteBackend
import Telemetry

/// Checks the files and folders that a configuration names, in the way in which a start uses them, without changing any.
struct FileCheck {
    /// Paths are those of keys, such as `apps[0].key.file`.
    typealias Finding = (path: String, text: String)

    /// Why a start would fail.
    private(set) var problems: [Finding] = []
    /// What an operator should know although a start would succeed.
    private(set) var warnings: [Finding] = []
    /// Files with secrets that every user of this machine can read or write, with their modes in octal.
    private(set) var exposedFiles: [(path: String, file: String, mode: String)] = []

    private var files = CredentialFiles()
    private var seen: Set<String> = []
    private let isKeyOfFile: (String) -> Bool

    /// - Parameters:
    ///   - isKeyOfFile: whether the configuration file has the key: an environment of an app may use the app's values.
    ///   - now: the time of day, for the ends of certificates.
    init(
        _ configuration: GatewayConfiguration, isKeyOfFile: @escaping (String) -> Bool = { _ in false }, now: WallTime
    ) {
        self.isKeyOfFile = isKeyOfFile
        if let problem = SQLiteBackend.folderProblem(configuration.storePath) {
            problems.append(("store.path", "store.path: \(problem)"))
        }
        for (index, app) in configuration.apps.enumerated() {
            for settings in app.environments { check(settings, of: app, at: "apps[\(index)]", now) }
        }
        if let file = configuration.proxy?.passwordFile {
            checkExposure(file, "apns.proxy.password_file")
            do throws(UnreadableFile) {
                _ = try TextFile.firstLine(of: file)
            } catch {
                let text = "apns.proxy.password_file \(file) cannot be read: \(error)"
                problems.append(("apns.proxy.password_file", text))
            }
        }
        for (path, file, mode) in exposedFiles {
            warnings.append((path, "\(file) can be read or changed by every user (mode \(mode)): chmod o= \(file)"))
        }
    }

    private mutating func check(
        _ settings: GatewayConfiguration.EnvironmentSettings, of app: GatewayConfiguration.App, at path: String,
        _ now: WallTime
    ) {
        let own = "\(path).environments.\(settings.environment.label)"
        let section =
            switch settings.credential {
            case .key: isKeyOfFile("\(own).key") ? "\(own).key" : "\(path).key"
            case .certificate: isKeyOfFile("\(own).certificate") ? "\(own).certificate" : "\(path).certificate"
            }
        // Apps with the same credential share its problems: the first one has them.
        if seen.insert("\(settings.credential)").inserted {
            do throws(CredentialFiles.Unusable) {
                let credential = try files.load(settings.credential)
                if case .certificate(let certificate) = credential { check(certificate, of: app, at: section, now) }
            } catch {
                problems.append(("\(section).\(error.key)", "app \"\(app.name)\": \(error)"))
            }
            for (key, file) in settings.credential.files { checkExposure(file, "\(section).\(key)") }
        }
        guard let file = settings.endpoint?.caFile, seen.insert("ca \(file)").inserted else { return }
        let key = isKeyOfFile("\(own).endpoint.ca_file") ? "\(own).endpoint.ca_file" : "\(path).endpoint.ca_file"
        do throws(UnreadableFile) {
            _ = try TextFile.read(file)
            var client = APNSClientConfiguration(endpoint: settings.apnsEndpoint)
            client.trustRoots = .file(file)
            problems += client.problems().map { (key, "app \"\(app.name)\": \($0)") }
        } catch {
            problems.append((key, "app \"\(app.name)\": endpoint.ca_file \(file) cannot be read: \(error)"))
        }
    }

    private mutating func check(
        _ certificate: APNSCertificate, of app: GatewayConfiguration.App, at section: String, _ now: WallTime
    ) {
        let end = WallTime(certificate.notAfter)
        let days = CertificateExpiryPolicy.daysLeft(end: end, now: now)
        let time = RFC3339.text(milliseconds: end.milliseconds)
        if end <= now {
            warnings.append((section, "app \"\(app.name)\": the certificate expired at \(time)"))
        } else if days < CertificateExpiryPolicy.thresholds[0] {
            warnings.append((section, "app \"\(app.name)\": the certificate expires in \(days) days, at \(time)"))
        }
        if !certificate.topics.isEmpty, !certificate.topics.contains(app.bundleID) {
            warnings.append((section, "app \"\(app.name)\": the certificate does not list the bundle ID"))
        }
    }

    private mutating func checkExposure(_ file: String, _ path: String) {
        var status = stat()
        guard stat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o006 != 0 else { return }
        exposedFiles.append((path, file, "0" + String(status.st_mode & 0o777, radix: 8)))
    }
}

extension GatewayConfiguration.Credential {
    /// The files with secrets, by their key.
    fileprivate var files: [(key: String, file: String)] {
        switch self {
        case .key(let key): [("file", key.file)]
        case .certificate(let files):
            [("p12_file", files.p12File), ("key_file", files.keyFile), ("password_file", files.passwordFile)]
                .compactMap { key, file in file.map { (key, $0) } }
        }
    }
}
