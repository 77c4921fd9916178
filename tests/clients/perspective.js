// Calls perspective-api-client, as published, and prints what it gives, JSON a line. Usage: node perspective.js
const Perspective = require('perspective-api-client');

async function main() {
  const client = new Perspective({apiKey: 'any'});
  const print = value => console.log(JSON.stringify(value));
  print(await client.analyze('you are a moron'));
  print(await client.analyze('have a nice day', {attributes: ['toxicity', 'insult'], doNotStore: false}));
  for (const request of [
    ['text', {attributes: ['unsubstantial']}],
    [{comment: {text: 'text'}, languages: ['om'], requestedAttributes: {TOXICITY: {}}}],
    ['', {validate: false}],
  ]) {
    try {
      await client.analyze(...request);
      print(null);
    } catch (error) {
      print({name: error.name, message: error.message, status: error.response && error.response.status});
    }
  }
}

main();
