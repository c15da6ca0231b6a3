import APNSKit
import ArgumentParser
import PushGateway

/// Prints a provider token.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Print a provider token, for curl and other clients.",
        discussion: """
            APNs accepts the token for one hour, in the header "authorization: bearer TOKEN". By default it is signed \
            with the key that `godwit simulate` wrote to ./godwit-simulator.
            """
    )

    @Option(help: "Signing key, a .p8 file.", transform: UserPath.expanded)
    var keyFile = "godwit-simulator/AuthKey.p8"

    @Option(help: "Key ID.")
    var keyID = "DEMOKEY000"

    @Option(help: "Team ID.")
    var teamID = "DEMOTEAM00"

    func run() throws {
        let key = try ProviderTokenKey(file: keyFile, keyID: keyID, teamID: teamID)
        let authorization = try ProviderTokenSource(key: key).current().authorization
        Terminal.writeOutput(String(authorization.trimmingPrefix("bearer ")))
    }
}
