// Usage: node read.js URL ROOT.JSON FOLDER
//
// Refreshes from the repository at URL, trusting ROOT.JSON, downloads every
// target into FOLDER, which is new, and prints their names.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Updater } = require('tuf-js');

async function main(url, root, folder) {
  const metadataDir = path.join(folder, 'metadata');
  fs.mkdirSync(metadataDir, { recursive: true });
  fs.copyFileSync(root, path.join(metadataDir, 'root.json'));
  const updater = new Updater({
    metadataDir,
    metadataBaseUrl: new URL('metadata', url).href,
    targetDir: folder,
    targetBaseUrl: new URL('targets', url).href,
  });
  await updater.refresh();
  // The names come from the metadata that the client has verified and kept.
  const targets = JSON.parse(fs.readFileSync(path.join(metadataDir, 'targets.json')));
  for (const name of Object.keys(targets.signed.targets).sort()) {
    const info = await updater.getTargetInfo(name);
    if (!info) throw new Error(`target ${name} is not found`);
    await updater.downloadTarget(info, path.join(folder, encodeURIComponent(name)));
    console.log(name);
  }
}

main(...process.argv.slice(2)).catch((err) => {
  console.error(err);
  process.exit(1);
});
