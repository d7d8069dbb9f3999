// Usage: node write.js FOLDER KEYS NAME=CONTENT...
//
// Makes a repository with those targets in FOLDER, by the functions that
// @tufjs/repo-mock is made of, and writes its one key to KEYS: a PKCS#8 file and
// its public half.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

// repo-mock writes expiry times to the millisecond. go-tuf cannot verify those
// that end in a zero, which it leaves out when it encodes them again.
const toISOString = Date.prototype.toISOString;
Date.prototype.toISOString = function () {
  return toISOString.call(this).replace(/\.\d+Z$/, '.123Z');
};

const mock = path.dirname(require.resolve('@tufjs/repo-mock'));
const { KeyPair } = require(path.join(mock, 'key'));
const { collectTargets } = require(path.join(mock, 'target'));
const { createRootMeta, createTargetsMeta, createSnapshotMeta, createTimestampMeta } = require(path.join(mock, 'metadata'));
const { tufHandlers } = require('@tufjs/repo-mock');

function main(folder, keys, ...files) {
  const targets = files.map((file) => {
    const [name, content] = file.split('=');
    return { name, content: Buffer.from(content) };
  });
  const key = new KeyPair();
  const targetsMeta = createTargetsMeta(collectTargets(targets), key);
  const snapshotMeta = createSnapshotMeta(targetsMeta, key);
  const timestampMeta = createTimestampMeta(snapshotMeta, key);
  const repo = { rootMeta: createRootMeta(key), targetsMeta, snapshotMeta, timestampMeta, targets };
  for (const handler of tufHandlers(repo, {})) {
    const { statusCode, response } = handler.fn();
    if (statusCode === 200) {
      const file = path.join(folder, handler.path);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, response);
    }
  }
  fs.mkdirSync(keys, { recursive: true });
  fs.writeFileSync(path.join(keys, 'all.key'), key.privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  fs.writeFileSync(path.join(keys, 'all.pub'), key.publicKey.keyVal.public);
}

main(...process.argv.slice(2));
