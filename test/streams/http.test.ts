/* Real responses, of a server on this machine. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createDeviceSync, type Device, ramSwap } from "../../src/index.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { until } from "../support/delays.ts";
import { expectAllFree } from "../support/devices.ts";
import { fails } from "../support/errors.ts";
import { partsOf, rejection } from "../support/streams.ts";

const SIZE = 700_000;
const BYTES = pattern(1, SIZE);

let device: Device;
let server: Server;

async function serve(listener: RequestListener): Promise<string> {
  server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

beforeEach(() => {
  device = createDeviceSync({ memory: "2 MiB", swap: ramSwap({ size: "8 MiB" }) });
});

afterEach(async () => {
  device.check();
  await device.close({ force: true });
  server.closeAllConnections();
  server.close();
});

test("a response with its length goes straight into the one buffer", async () => {
  const url = await serve((_, response) => {
    response.writeHead(200, { "content-length": SIZE });
    response.end(BYTES);
  });
  const create = vi.spyOn(device, "createBuffer");
  const buffer = await device.bufferFrom(await fetch(url));
  expect(create.mock.calls.map(([size]) => size)).toEqual([SIZE]);
  expectSame(await content(buffer), BYTES, "the buffer");
});

test("a chunked response, which has no length", async () => {
  const url = await serve((_, response) => {
    for (const part of partsOf(BYTES, 33_333)) response.write(part);
    response.end();
  });
  const response = await fetch(url);
  expect(response.headers.get("content-length")).toBe(null);
  expectSame(await content(await device.bufferFrom(response)), BYTES, "the buffer");
});

test("a compressed response, whose length is that of what was sent", async () => {
  const text = new TextEncoder().encode("not one byte is lost\n".repeat(50_000));
  const zipped = gzipSync(text);
  const url = await serve((_, response) => {
    response.writeHead(200, { "content-encoding": "gzip", "content-length": zipped.length });
    response.end(zipped);
  });
  const buffer = await device.bufferFrom(await fetch(url));
  expectSame(await content(buffer), text, "the buffer");
});

test("an answer to HEAD has a length, and no bytes", async () => {
  const url = await serve((_, response) => {
    response.writeHead(200, { "content-length": SIZE });
    response.end();
  });
  const head = await fetch(url, { method: "HEAD" });
  await expect(device.bufferFrom(head)).rejects.toThrow("source has no bytes");
  expectAllFree(device);
});

test("a connection that ends too early is an error, and nothing is left", async () => {
  const url = await serve((_, response) => {
    response.writeHead(200, { "content-length": SIZE });
    response.write(BYTES.subarray(0, 100_000), () => response.destroy());
  });
  const response = await fetch(url);
  const error = await rejection(device.bufferFrom(response));
  expect(error).toBeInstanceOf(Error);
  expect(error).not.toBeInstanceOf(RangeError);
  expect(device.stats().buffers).toBe(0);
  expectAllFree(device);
});

test.each(["aborted", "with too many bytes"])(
  "a download %s is ended at its server",
  async (how) => {
    let closed = false;
    const url = await serve((_, response) => {
      response.on("close", () => {
        closed = true;
      });
      response.write(BYTES.subarray(0, 100_000));
    });
    const controller = new AbortController();
    const { signal } = controller;
    const response = await fetch(url);
    const size = how === "aborted" ? SIZE : 50_000;
    const running = device.bufferFrom(response, { signal, size });
    if (how === "aborted") {
      const failed = fails("EINTR", running);
      await until(() => device.stats().pages.free < device.stats().pages.total);
      controller.abort("why");
      expect((await failed).cause).toBe("why");
    } else await expect(running).rejects.toThrow("source has more bytes than size, which is 50000");
    await until(() => closed);
    expect(device.stats().buffers).toBe(0);
    expectAllFree(device);
  },
);

test("a buffer is uploaded as a stream", async () => {
  let got: Uint8Array | undefined;
  const url = await serve(async (request: IncomingMessage, response) => {
    const parts: Uint8Array[] = [];
    for await (const part of request) parts.push(part);
    got = Buffer.concat(parts);
    response.end("ok");
  });
  const buffer = await device.bufferFrom(BYTES);
  await device.shrink();
  const options = { method: "POST", body: buffer.readable(), duplex: "half" };
  await (await fetch(url, options as RequestInit)).text();
  expectSame(got as Uint8Array, BYTES, "what the server got");
});
