import GodwitCLI

await CommandLineTool.run(Godwit.self)
