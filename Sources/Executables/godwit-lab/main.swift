import GodwitCLI

await CommandLineTool.run(GodwitLab.self)
