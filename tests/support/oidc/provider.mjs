// node provider.mjs CONFIG.json : a real OpenID Connect provider whose people are in the configuration.
import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const provider = new Provider(`http://127.0.0.1:${config.port}`, {
  clients: [
    {
      client_id: config.client_id,
      client_secret: config.client_secret,
      redirect_uris: config.redirect_uris,
      grant_types: ["authorization_code"],
      response_types: ["code"],
    },
  ],
  cookies: { keys: ["cookie-key-of-the-test-provider"] },
  claims: { openid: ["sub"], profile: ["name", "groups"], email: ["email"] },
  // Refuses a client that forgets PKCE.
  pkce: { required: () => true },
  // Its own sign-in pages, where any password is right.
  features: { devInteractions: { enabled: true } },
  findAccount: (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, ...(config.people[id] ?? {}) }),
  }),
});
provider.listen(config.port, "127.0.0.1", () => process.stdout.write("listening\n"));
