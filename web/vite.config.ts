import react from '@vitejs/plugin-react';
import { defineConfig, minifySync, type Plugin } from 'vite';

/// The layout engine comes compiled but not quite compressed.
const smallerWorker: Plugin = {
  name: 'smaller-worker',
  generateBundle(_, bundle) {
    for (const asset of Object.values(bundle)) {
      if (asset.type !== 'asset' || !asset.fileName.includes('elk-worker')) continue;
      const { code, errors } = minifySync(asset.fileName, asset.source.toString(), { compress: true, mangle: false, module: false });
      if (errors.length > 0) this.error(`${asset.fileName}: ${errors[0]?.message ?? ''}`);
      asset.source = code;
    }
  },
};

export default defineConfig({
  plugins: [react(), smallerWorker],
  build: {
    target: 'es2022',
    // The content security policy allows no inline scripts, and `data:` for pictures only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: true,
  },
});
