// A model of what roles/mongodb/templates/users.js.j2 uses of mongosh, so that Node can run the script.
//   node mongosh_model.js SCRIPT STATE.json        prints what the script prints; STATE.json is read and written
const fs = require("fs");
const vm = require("vm");
const [script, place] = process.argv.slice(2);
const state = fs.existsSync(place) ? JSON.parse(fs.readFileSync(place, "utf8")) : {users: {}, set: null};
let who = null; // the localhost exception holds while there is no user
const mayManage = () => who === "admin" || Object.keys(state.users).length === 0;
const must = (allowed, what) => { if (!allowed) throw new Error(`not authorized: ${what}`); };
const admin = {
  auth(user, pwd) {
    if (state.users[user]?.pwd !== pwd) throw new Error("Authentication failed.");
    who = user;
    return {ok: 1};
  },
  createUser(user) { must(mayManage(), "createUser"); state.users[user.user] = {pwd: user.pwd, roles: user.roles}; },
  getUser(name) { must(who === "admin", "getUser"); return state.users[name] ? {user: name, roles: state.users[name].roles} : null; },
  updateUser(name, change) { must(who === "admin", "updateUser"); Object.assign(state.users[name], change); },
};
const sandbox = {
  db: {getSiblingDB(name) { must(name === "admin", name); return admin; }, hello: () => ({isWritablePrimary: state.set !== null})},
  rs: {
    status() { if (!state.set) throw Object.assign(new Error("no replset config"), {codeName: "NotYetInitialized"}); return state.set; },
    initiate(wanted) { must(mayManage(), "initiate"); state.set = wanted; },
  },
  print: (text) => console.log(text),
  sleep: () => undefined,
};
vm.runInNewContext(fs.readFileSync(script, "utf8"), sandbox);
fs.writeFileSync(place, JSON.stringify(state));
