// snippet: client
import Foundation

#if canImport(FoundationNetworking)
import FoundationNetworking
#endif

struct Accepted: Decodable {
    let id: String
    enum CodingKeys: String, CodingKey { case id = "msg_id" }
}

let url = ProcessInfo.processInfo.environment["GODWIT_URL"] ?? "http://127.0.0.1:8025"
var request = URLRequest(url: URL(string: "\(url)/push")!, timeoutInterval: 10)
request.httpMethod = "POST"
request.setValue("application/json", forHTTPHeaderField: "Content-Type")
request.httpBody = Data(
    #"""
    {"device_token": "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0",
     "payload": {"aps": {"alert": "Tea is ready"}}}
    """#.utf8)
let (body, response) = try await URLSession.shared.data(for: request)
guard (response as? HTTPURLResponse)?.statusCode == 200 else {
    FileHandle.standardError.write(body)
    exit(1)
}
print(try JSONDecoder().decode(Accepted.self, from: body).id)
// snippet end
