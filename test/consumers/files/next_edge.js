import { run } from "../../subpaths.js";

export const runtime = "edge";
export const dynamic = "force-dynamic";

export async function GET() {
  const text = await run().catch((error) => `failed: ${error?.stack ?? error}`);
  return new Response(`<title>${text}</title>`, { headers: { "content-type": "text/html" } });
}
