import PushModel
import Testing

@Suite struct `Secrets in a text` {
    @Test(arguments: [
        ("'sk_live_0123456789abcdef0123' is not a push ID", "'…' is not a push ID"),
        ("/etc/keys/sk-0123456789abcdef.pem: no such file", "/etc/keys/….pem: no such file"),
        ("token 00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0!", "token …!"),
        (String(repeating: "ab", count: 32), "…"), ("eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJERU1PVEVBTTAwIn0", "….…"),
        ("http://me:hunter2@h/x and https://k@h", "http://…@h/x and https://…@h"),
        ("Authorization: Bearer hunter2", "Authorization: Bearer …"), ("basic  aHVudGVyMg==", "basic …"),
        ("a -----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY----- b", "a … b"),
        ("-----BEGIN EC PRIVATE KEY-----\nMIG", "…"),
    ])
    func `are hidden`(_ text: String, _ masked: String) { #expect(SecretText.masked(text) == masked) }

    @Test(arguments: [
        "'0190b3a5-7c1e-7d6f-8a51-5d0c8f3b0000' is not known", "http://127.0.0.1:8025/api/v1/messages",
        "campaign-2026-11-30",
        "com.example.app: apps[0].key.file", "/var/lib/godwit/store-2026/godwit.sqlite", "the user a@example.com",
        "authorization_header_of_the_request", "internationalisation", "",
    ])
    func `are not seen in ordinary texts`(_ text: String) { #expect(SecretText.masked(text) == text) }
}
