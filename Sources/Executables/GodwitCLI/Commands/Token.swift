import APNSKit
import ArgumentParser

struct Token: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a provider token, for curl and other clients.",
        discussion: """
            APNs takes it for an hour, as "authorization: bearer TOKEN". Without options it is signed with the key that \
            `godwit simulate` left in ./godwit-simulator.
            """
    )

    @Option(help: "The signing key, a .p8 file.")
    var keyFile = "godwit-simulator/AuthKey.p8"

    @Option(help: "The key id.")
    var keyID = "DEMOKEY000"

    @Option(help: "The team id.")
    var teamID = "DEMOTEAM00"

    func run() throws {
        let key = try ProviderTokenKey(file: keyFile, keyID: keyID, teamID: teamID)
        let authorization = try ProviderTokenSource(key: key).current().authorization
        Terminal.say(String(authorization.trimmingPrefix("bearer ")))
    }
}
