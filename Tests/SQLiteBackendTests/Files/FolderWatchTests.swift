import Foundation
import Testing

@testable import SQLiteBackend

@Suite struct `A watch of a folder` {
    @Test func `reports every change of an entry once, and no write`() throws {
        let folder = try TemporaryFolder()
        let file = folder.path + "/file"
        #expect(FileManager.default.createFile(atPath: file, contents: Data("a".utf8)))
        let watch = try #require(FolderWatch(folder.path))
        #expect(!watch.hasChanged())
        let handle = try #require(FileHandle(forWritingAtPath: file))
        try handle.write(contentsOf: Data("content".utf8))
        try handle.close()
        #expect(!watch.hasChanged(), "a write")
        try FileManager.default.moveItem(atPath: file, toPath: file + "-2")
        #expect(watch.hasChanged(), "a rename")
        #expect(!watch.hasChanged())
        #expect(FileManager.default.createFile(atPath: file, contents: nil))
        #expect(watch.hasChanged(), "a new file")
        try FileManager.default.removeItem(atPath: file)
        #expect(watch.hasChanged(), "a deletion")
        #expect(!watch.hasChanged())
    }

    @Test func `reports many changes, and the end of the folder`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/inner"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let watch = try #require(FolderWatch(path))
        for number in 0..<5_000 { #expect(FileManager.default.createFile(atPath: "\(path)/\(number)", contents: nil)) }
        #expect(watch.hasChanged())
        while watch.hasChanged() {}
        try FileManager.default.moveItem(atPath: path, toPath: path + "-2")
        #expect(watch.hasChanged(), "renamed")
    }

    @Test func `does not exist for a folder that does not`() {
        #expect(FolderWatch("/nonexistent/folder") == nil)
    }
}
