import Foundation
import PushTesting
import Testing

@Suite struct `House rules` {
    @Test(arguments: HouseRule.all)
    func `the sources follow the rule`(_ rule: HouseRule) throws {
        let files = try SourceText.files(below: "Sources") + SourceText.files(below: "Tests")
        try #require(files.count > 20)
        #expect(rule.findings(in: files).joined(separator: "\n") == "")
        #expect(rule.idleExceptions(in: files) == [])
    }

    @Test(arguments: HouseRule.all)
    func `the rule finds its bad samples and no good one`(_ rule: HouseRule) {
        for text in rule.bad {
            #expect(rule.breaches(SourceText(path: "x.swift", text: text)) != [], "\(text)")
        }
        for text in rule.good {
            #expect(rule.breaches(SourceText(path: "x.swift", text: text)) == [], "\(text)")
        }
    }

    @Test func `an unneeded exception is reported`() {
        var rule = HouseRule.noPrint
        rule.exceptions = ["Sources/A.swift": "it must"]
        let idle = SourceText(path: "Sources/A.swift", text: "let a = 1")
        let used = SourceText(path: "Sources/A.swift", text: "print(1)")
        #expect(rule.idleExceptions(in: [idle]) == ["Sources/A.swift"])
        #expect(rule.idleExceptions(in: [used]) == [])
        #expect(rule.findings(in: [used]) == [])
    }

    @Test func `strings and comments are separated from code`() {
        let text = #"""
            let a = "x // \(b("y"))" // why "not"
            let c = """
                print(1) \(d)
                """ /* two
            lines */ + e
            """#
        let source = SourceText(path: "x.swift", text: text)
        #expect(source.code.count == 5)
        #expect(source.code[0].contains("b(") && !source.code[0].contains("y") && !source.code[0].contains("x"))
        #expect(source.comments[0] == "// why \"not\"")
        #expect(!source.code[2].contains("print") && source.code[2].contains("d"))
        #expect(source.comments[4] == "lines */" && source.code[4].contains("+ e"))
    }
}
