// What the compiler must know about WebAssembly without the DOM library, whose globals (`window`,
// `document`, ...) would let code compile that runs in no server runtime. Only what src/engine uses.

// The order matters: of two patterns that fit, the first one counts.
/** The engine as its tests load it: base64. */
declare module "*/build/engine.wasm" {
  const text: string;
  export default text;
}

/** What runtimes that compile modules ahead of time, and their bundlers, make of the engine. */
declare module "*.wasm" {}

declare namespace WebAssembly {
  type ImportExportKind = "function" | "global" | "memory" | "table" | "tag";
  type Exports = Record<string, unknown>;
  type ModuleImports = Record<string, unknown>;
  type Imports = Record<string, ModuleImports>;

  interface ModuleExportDescriptor {
    name: string;
    kind: ImportExportKind;
  }

  interface ModuleImportDescriptor {
    module: string;
    name: string;
    kind: ImportExportKind;
  }

  // biome-ignore lint/suspicious/noEmptyInterface: so it is everywhere.
  interface Module {}
  const Module: {
    prototype: Module;
    new (bytes: BufferSource): Module;
    customSections(module: Module, sectionName: string): ArrayBuffer[];
    exports(module: Module): ModuleExportDescriptor[];
    imports(module: Module): ModuleImportDescriptor[];
  };

  interface Instance {
    readonly exports: Exports;
  }
  const Instance: {
    prototype: Instance;
    new (module: Module, imports?: Imports): Instance;
  };

  interface MemoryDescriptor {
    initial: number;
    maximum?: number;
    shared?: boolean;
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
    grow(delta: number): number;
  }
  const Memory: {
    prototype: Memory;
    new (descriptor: MemoryDescriptor): Memory;
  };

  interface Table {
    readonly length: number;
    get(index: number): unknown;
  }

  interface CompileError extends Error {}
  const CompileError: ErrorConstructor;
  interface LinkError extends Error {}
  const LinkError: ErrorConstructor;
  interface RuntimeError extends Error {}
  const RuntimeError: ErrorConstructor;

  interface InstantiatedSource {
    instance: Instance;
    module: Module;
  }

  function validate(bytes: BufferSource): boolean;
  function compile(bytes: BufferSource): Promise<Module>;
  function instantiate(bytes: BufferSource, imports?: Imports): Promise<InstantiatedSource>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;
}

type BufferSource = ArrayBuffer | ArrayBufferView<ArrayBuffer>;
