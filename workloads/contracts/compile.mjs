// Compiles the contracts of this folder into artifacts/*.json; with --check, compares instead of writing.
// Ends with 0 if all is well, 1 if an artifact differs or a source does not compile.
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const folder = dirname(fileURLToPath(import.meta.url));
const artifacts = join(folder, "artifacts");
const sources = readdirSync(folder).filter((name) => name.endsWith(".sol")).sort();

// Without metadata the code depends on nothing but source, compiler and these settings.
const settings = {
  evmVersion: "osaka",
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
};

const input = {
  language: "Solidity",
  sources: Object.fromEntries(sources.map((name) => [name, { content: readFileSync(join(folder, name), "utf8") }])),
  settings: {
    ...settings,
    outputSelection: { "*": { "*": ["evm.deployedBytecode.object", "evm.methodIdentifiers", "storageLayout"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const error of output.errors ?? []) console.error(error.formattedMessage);
if (output.errors?.length) process.exit(1);

const check = process.argv.includes("--check");
const expected = new Set();
let differences = 0;
for (const source of sources) {
  const contract = source.replace(/\.sol$/, "");
  const { evm, storageLayout } = output.contracts[source][contract];
  const artifact = {
    contract,
    source,
    compiler: solc.version(),
    settings,
    selectors: evm.methodIdentifiers,
    storage: Object.fromEntries(
      storageLayout.storage.map(({ label, slot, offset }) => [label, { slot: Number(slot), offset_bytes: offset }]),
    ),
    runtime: `0x${evm.deployedBytecode.object}`,
  };
  const name = `${contract}.json`;
  const path = join(artifacts, name);
  const text = `${JSON.stringify(artifact, null, 2)}\n`;
  expected.add(name);
  if (!check) {
    writeFileSync(path, text);
  } else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error(`artifacts/${name} is not what ${source} compiles to: run \`npm run build\``);
    differences += 1;
  }
}
for (const name of readdirSync(artifacts).filter((name) => !expected.has(name))) {
  console.error(`artifacts/${name} has no source`);
  differences += 1;
}
console.log(`${expected.size} contracts ${check ? "checked" : "compiled"} with solc ${solc.version()}`);
process.exit(differences === 0 ? 0 : 1);
