const { run } = require("./consumer.cjs");

run().then(console.log);
