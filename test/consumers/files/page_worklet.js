const context = new OfflineAudioContext(1, 128, 44100);
context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url)).then(
  () => {
    const node = new AudioWorkletNode(context, "consumer");
    node.port.onmessage = ({ data }) => {
      document.title = data;
    };
    node.connect(context.destination);
    return context.startRendering();
  },
  (error) => {
    document.title = `failed: the worklet did not start: ${error}`;
  },
);
