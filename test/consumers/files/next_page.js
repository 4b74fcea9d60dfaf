"use client";

import { useEffect } from "react";
import { run } from "../subpaths.js";

export default function Page() {
  useEffect(() => {
    run().then(
      (text) => {
        document.title = text;
      },
      (error) => {
        document.title = `failed: ${error?.stack ?? error}`;
      },
    );
  }, []);
  return <p>Its title says how it went.</p>;
}
