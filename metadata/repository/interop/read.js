// Usage: node read.js URL ROOT.JSON FOLDER TARGET...
//
// Refreshes from the repository at URL, trusting ROOT.JSON, looks the targets up
// through the delegations, downloads them into FOLDER, which is new, and prints
// their names.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Updater } = require('tuf-js');

async function main(url, root, folder, ...names) {
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
  for (const name of names) {
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
