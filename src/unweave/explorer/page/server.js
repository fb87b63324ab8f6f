// A run that a server answers for: its arrays, and questions over one WebSocket.

export class Server {
  constructor(onLost) {
    this.waiting = new Map();
    this.next = 0;
    const url = new URL("ask" + location.search, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.open = new Promise((resolve) => this.socket.addEventListener("open", resolve));
    this.socket.addEventListener("message", (event) => this.receive(event.data));
    this.socket.addEventListener("close", onLost);
  }

  async run() {
    return (await fetch("run.json")).json();
  }

  // An array by its name: codes, labels, codes/other, bounds/elbo, plane/z/pca.
  async numbers(name) {
    const reply = await fetch(name);
    if (!reply.ok) throw new Error((await reply.text()).trim());
    return new Float32Array(await reply.arrayBuffer());
  }

  async item(number) {
    return (await fetch(`item/${number}`)).arrayBuffer();
  }

  // Decode codes by a run; a later question on the same channel takes the place of an earlier one.
  decode(codes, channel, run = 0) {
    for (const [id, question] of this.waiting) {
      if (question.channel === channel) this.waiting.delete(id);
    }
    return this.ask({ ask: "decode", codes, channel, run });
  }

  select(items) {
    return this.ask({ ask: "select", items });
  }

  name(unit, name, note) {
    return this.ask({ ask: "name", unit, name, note });
  }

  async ask(question) {
    await this.open;
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, channel: question.channel });
      this.socket.send(JSON.stringify({ id, ...question }));
    });
  }

  receive(data) {
    if (typeof data !== "string") {
      const id = new DataView(data).getUint32(0, true);
      this.settle(id, data.slice(4));
      return;
    }
    const answer = JSON.parse(data);
    this.settle(answer.id, answer);
  }

  settle(id, answer) {
    const question = this.waiting.get(id);
    if (!question) return;
    this.waiting.delete(id);
    if (answer.error) question.reject(new Error(answer.error));
    else question.resolve(answer);
  }
}
