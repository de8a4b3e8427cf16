// Lays a large graph out beside the page, which stays responsive.

import { layoutInTiers, type Asked } from './tiers';

onmessage = ({ data: { nodes, edges } }: MessageEvent<Asked>) => postMessage(layoutInTiers(nodes, edges));
