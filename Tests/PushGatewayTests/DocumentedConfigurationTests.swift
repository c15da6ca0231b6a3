import Foundation
import PushGateway
import PushTesting
import Testing

/// Configuration files in the documentation.
@Suite struct `Configurations in the documentation` {
    @Test(arguments: ["README.md", "docs/tutorials/first-push.md"])
    func `each one is valid as printed`(_ page: String) throws {
        let text = try String(contentsOfFile: "\(Repository.root)/\(page)", encoding: .utf8)
        let blocks = text.matches(of: /(?m)^```yaml\n((?:.|\n)*?)^```$/).map { String($0.1) }
        try #require(!blocks.isEmpty)
        for block in blocks {
            let configuration = try GatewayConfiguration.parse(block, file: page, folder: "/etc/godwit")
            #expect(configuration.apps.count == 1)
        }
    }
}
