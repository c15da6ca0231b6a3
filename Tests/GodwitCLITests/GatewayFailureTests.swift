import GodwitCLI
import Testing

@Suite struct `A failed call of the gateway` {
    @Test(arguments: [nil, 409, 429, 500, 503])
    func `may succeed later if the connection or the gateway failed`(_ status: Int?) {
        #expect(GatewayFailure(description: "", status: status).isTemporary)
    }

    @Test(arguments: [400, 401, 404, 413, 422])
    func `fails again if the request is wrong`(_ status: Int) {
        #expect(!GatewayFailure(description: "", status: status).isTemporary)
    }
}
